"""Interventions: pictures edited, and what the network says to each edit."""
