// Every exchange with the service: JSON, the token, and errors in the service's own sentence.

const TOKEN_KEY = "pricing-api-token";
const BUSY_TRIES = 5;
const BUSY_WAIT_MS = 300;

/** A refusal of the service. `status` is 0 where it did not answer at all. */
export class ServiceError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

let asking = null;

/** The answer to GET `path` (relative, as "history"); `query` leaves out what is undefined or null. */
export function getJson(path, query = {}, options = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== null);
  const text = new URLSearchParams(given).toString();
  return exchange(text ? `${path}?${text}` : path, { method: "GET", ...options });
}

/** The answer to POST `path` with `body` as JSON; `options.signal` ends it early. */
export function postJson(path, body, options = {}) {
  return exchange(path, {
    method: "POST",
    body: JSON.stringify(body),
    ...options,
    headers: { "Content-Type": "application/json", ...options.headers },
  });
}

/**
 * Keeps only the answer that was asked for last: `latest(signal => postJson(…))` ends the call
 * before, which then answers undefined.
 */
export function latestOnly() {
  let controller = null;
  return async (ask) => {
    controller?.abort();
    const mine = (controller = new AbortController());
    try {
      const answer = await ask(mine.signal);
      return mine.signal.aborted ? undefined : answer;
    } catch (failure) {
      if (mine.signal.aborted) return undefined;
      throw failure;
    }
  };
}

/** A file of the service, as a download under its own name; the token goes along. */
export async function download(path, name) {
  const response = await send(path, { method: "GET" });
  if (!response.ok) throw await refusal(response);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(await response.blob());
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

async function exchange(path, options) {
  const response = await send(path, options);
  if (!response.ok) throw await refusal(response);
  return response.json();
}

async function send(path, options) {
  const used = sessionStorage.getItem(TOKEN_KEY);
  const response = await patient(path, options, used);
  if (response.status !== 401) return response;
  await response.text();
  // Several calls of one page are refused together; they share one question.
  if (sessionStorage.getItem(TOKEN_KEY) === used) {
    asking ??= askForToken(used !== null).finally(() => (asking = null));
    await asking;
  }
  return send(path, options);
}

/** A busy service refuses what can wait first; it is asked again a few times. */
async function patient(path, options, token) {
  for (let left = BUSY_TRIES; ; left -= 1) {
    const response = await attempt(path, options, token);
    if (response.status !== 429 || left === 0) return response;
    await response.text();
    await new Promise((resolve) => setTimeout(resolve, BUSY_WAIT_MS));
    if (options.signal?.aborted) throw new DOMException("a later question took its place", "AbortError");
  }
}

async function attempt(path, options, token) {
  const headers = { ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  try {
    return await fetch(path, { ...options, headers });
  } catch (failure) {
    if (failure.name === "AbortError") throw failure;
    throw new ServiceError(0, "the service does not answer");
  }
}

async function refusal(response) {
  try {
    return new ServiceError(response.status, (await response.json()).error);
  } catch {
    return new ServiceError(response.status, `the service answered with status ${response.status}`);
  }
}

/** Asks with the page's dialog until a token is given, and keeps it for this tab. */
function askForToken(wasWrong) {
  const dialog = document.getElementById("token-dialog");
  const form = dialog.querySelector("form");
  const problem = form.querySelector(".problem");
  problem.hidden = !wasWrong;
  problem.textContent = "That token was not accepted.";
  form.elements.token.value = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("cancel", (event) => event.preventDefault());
    form.addEventListener(
      "submit",
      () => {
        sessionStorage.setItem(TOKEN_KEY, form.elements.token.value);
        resolve();
      },
      { once: true },
    );
  });
}
