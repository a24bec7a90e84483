"""The fuel-devops ORM for today's Django: the same tables, columns and migration name."""
