"""The kill suite: commands, killed at random moments and started again, end as if nothing had been."""
