"""Whether training can work here: checks by subject, each a function from a visit to findings."""
