# One image for every process of a fleet: docker build -t gluellm . && docker run --env-file .env gluellm worker
# Tools and workflows of your own are modules below /app, which find `gluellm` and `zod` there:
#   docker run --env-file .env -v ./support.ts:/app/modules/support.ts:ro gluellm worker --module modules/support.ts
FROM node:24-slim AS build
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --no-audit --no-fund
COPY tsconfig.json tsconfig.build.json ./
COPY tools tools
COPY dashboards dashboards
COPY src src
RUN npm run prepack

# What runs, with the optional packages (pg, OpenTelemetry, Sentry, MCP, S3), but without what only compilers and debuggers read.
FROM node:24-alpine AS packages
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --no-audit --no-fund \
  && rm -rf node_modules/typescript node_modules/@typescript \
  && find node_modules -type f \( -name '*.map' -o -name '*.d.ts' -o -name '*.d.mts' -o -name '*.d.cts' \) -delete

FROM node:24-alpine
WORKDIR /app
COPY --from=packages /app/node_modules node_modules
COPY --from=build /app/dist dist
COPY package.json ./
COPY bin bin
RUN ln -s /app/bin/gluellm.js /usr/local/bin/gluellm && install -d -o node -g node /data
# Every process answers at HEALTH_URL; the API and the dashboard have better ones (docker-compose.yml).
ENV NODE_ENV=production \
  GLUELLM_DATA_DIR=/data \
  GLUELLM_ENABLE_METRICS_SERVER=true \
  HEALTH_URL=http://127.0.0.1:8000/healthz
USER node
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --start-interval=1s --retries=6 \
  CMD wget -q -O /dev/null "$HEALTH_URL"
ENTRYPOINT ["gluellm"]
CMD ["worker"]
