"""memory-proxy: persistent memory for any OpenAI-compatible chatbot, by changing only its base URL."""

__version__ = "0.1.0"
