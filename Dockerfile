# klpstate as an image: built from the lockfile, run as a user that owns nothing but the log's volume.
ARG NODE_VERSION=20.20.2

FROM node:${NODE_VERSION}-bookworm AS build
WORKDIR /build
# First what the lockfile says, so that a change of the sources installs nothing again.
COPY package.json package-lock.json .npmrc ./
RUN npm ci
COPY tsconfig.json ./
COPY scripts/build.mjs scripts/
COPY proto proto
COPY core-wasm core-wasm
COPY services services
RUN npm run build && npm prune --omit=dev

FROM node:${NODE_VERSION}-bookworm-slim
# The claim on a directory is util-linux's flock: an image without it fails here, not when it is started.
RUN flock --version && install -d -o node -g node -m 0750 /var/lib/klpstate
WORKDIR /opt/klpstate
COPY --from=build /build/package.json ./
COPY --from=build /build/node_modules node_modules
COPY --from=build /build/dist dist
COPY bin bin
COPY packaging/ready.mjs packaging/
ENV NODE_ENV=production
# A number: what runs the image can tell without its /etc/passwd that it is not root.
USER 1000:1000
VOLUME /var/lib/klpstate
EXPOSE 7350
ENTRYPOINT ["node", "/opt/klpstate/bin/klpstate.js"]
CMD ["serve", "--data", "/var/lib/klpstate", "--listen", "0.0.0.0:7350"]
