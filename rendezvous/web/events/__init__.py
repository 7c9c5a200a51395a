"""Event streams: what they read, and the two forms in which it is sent: Server-Sent Events and WebSockets."""
