"""WebSockets (RFC 6455), beside the routes on the same port."""
