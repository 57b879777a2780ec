# syntax=docker/dockerfile:1.7

# librdkafka is built from source; its compiler, make and zlib are in this image already.
FROM rust:1.95.0-bookworm AS build
WORKDIR /src
# Not rust-toolchain.toml's components: clippy and rustfmt would be fetched for nothing.
ENV RUSTUP_TOOLCHAIN=1.95.0
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/usr/local/cargo/git/db \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package sluice-api --package sluice-worker \
    && install -D -t /out target/release/sluice-api target/release/sluice-worker

FROM debian:12.12-slim
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/ /usr/local/bin/
USER 65532:65532
EXPOSE 8080 9465
CMD ["sluice-api", "serve"]
