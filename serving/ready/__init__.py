"""Ready models over HTTP: the own API, and the forms of clients that people have already. The models run elsewhere."""
