"""Calls between members: the port (`port`) and its HTTP implementation (`http`)."""
