# syntax=docker/dockerfile:1
# The binary alone, as a user without rights. A project is mounted at /project, or copied into an image of yours:
#   FROM lakepulse
#   COPY . /project
FROM rust:1.95.0-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends g++ make && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches outlive a build, so the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked --package lakepulse \
    && install -D -s target/release/lakepulse /out/lakepulse

FROM debian:12.11-slim
# Certificates, for stores and brokers over TLS.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home lakepulse \
    && install -d -o lakepulse /project
COPY --from=build /out/lakepulse /usr/local/bin/lakepulse
USER 10001
WORKDIR /project
ENV LAKEPULSE_PROJECT=/project LAKEPULSE_LISTEN=0.0.0.0:9464 LAKEPULSE_LOG_FORMAT=json
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["lakepulse", "health"]
ENTRYPOINT ["lakepulse"]
CMD ["--help"]
