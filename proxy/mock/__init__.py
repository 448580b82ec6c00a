"""The built-in OpenAI-compatible upstream: what `demo` talks to and `bench` measures against."""
