# The binary alone, as a user without rights. A project is mounted at /project, or copied into an image of yours:
#   FROM lakepulse
#   COPY . /project
# Wants BuildKit: `DOCKER_BUILDKIT=1` where docker is older than 23.
FROM debian:12.11-slim AS base
# Certificates, for stores and brokers over TLS.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home lakepulse \
    && install -d -o lakepulse /project
USER 10001
WORKDIR /project
# Queries that are larger than memory spill here, also where all else is read-only.
VOLUME /tmp
ENV LAKEPULSE_PROJECT=/project LAKEPULSE_LISTEN=0.0.0.0:9464 LAKEPULSE_LOG_FORMAT=json
EXPOSE 9464
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["lakepulse", "health"]
ENTRYPOINT ["lakepulse"]
CMD ["--help"]

FROM rust:1.95.0-slim-bookworm AS build
# OpenSSL is built along, by Perl.
RUN apt-get update && apt-get install -y --no-install-recommends g++ make perl && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
# The caches outlive a build, so the binary is copied out of them.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --profile dist --locked --package lakepulse \
    && install -D target/dist/lakepulse /out/lakepulse

FROM base
COPY --from=build /out/lakepulse /usr/local/bin/lakepulse
