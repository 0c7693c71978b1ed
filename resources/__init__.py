"""Clients for the outside, made from settings: tables, tracking, price store."""
