# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /src
RUN python -m venv /opt/memory-proxy
COPY pyproject.toml README.md LICENSE requirements.lock ./
# The development tools in the lock stay out: pip takes only what the package itself asks for, at the locked versions.
RUN sed -E 's/ *\\$//; /^ *--hash/d; s/^([^ =[]+)\[[^]]*\]/\1/' requirements.lock > constraints.txt
COPY proxy ./proxy
RUN /opt/memory-proxy/bin/pip install --constraint constraints.txt ".[redis,otel,personal]"
# tiktoken's tables, so that tokens are counted exactly without a download at run time. A build without network goes on:
# the proxy then counts with its estimate.
ENV TIKTOKEN_CACHE_DIR=/opt/memory-proxy/tiktoken
RUN mkdir -p "$TIKTOKEN_CACHE_DIR" \
    && timeout 60 /opt/memory-proxy/bin/python -c "import tiktoken; tiktoken.get_encoding('o200k_base')" \
    || echo "tiktoken's tables cannot be fetched here; tokens will be estimated"

FROM python:3.13-slim

LABEL org.opencontainers.image.title="memory-proxy" \
      org.opencontainers.image.description="Persistent memory for any OpenAI-compatible chatbot, by changing only its base URL" \
      org.opencontainers.image.licenses="Apache-2.0"

RUN groupadd --system --gid 10001 memory \
    && useradd --system --uid 10001 --gid memory --home-dir /data --shell /usr/sbin/nologin memory \
    && install -d -o memory -g memory -m 0700 /data
COPY --from=build /opt/memory-proxy /opt/memory-proxy
ENV PATH=/opt/memory-proxy/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    TIKTOKEN_CACHE_DIR=/opt/memory-proxy/tiktoken \
    MEMORY_PROXY_DATA_DIR=/data \
    MEMORY_PROXY_SERVER__HOST=0.0.0.0
# By number: where only a name is known, Kubernetes' runAsNonRoot cannot tell that it is not root.
USER 10001
VOLUME /data
EXPOSE 8787
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen('http://127.0.0.1:' + os.environ.get('MEMORY_PROXY_SERVER__PORT', '8787') + '/healthz', timeout=2)"]
ENTRYPOINT ["memory-proxy"]
CMD ["serve"]
