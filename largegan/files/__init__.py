"""The two doors: what comes from outside is read here, what tools make is written here."""
