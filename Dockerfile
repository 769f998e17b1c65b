FROM node:24-slim AS console
WORKDIR /app
COPY package.json package-lock.json .npmrc tsconfig.json ./
RUN npm ci --no-audit --no-fund
COPY dashboards dashboards
COPY src/shared src/shared
COPY tools tools
RUN npm run build:console

FROM node:24-slim
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY bin bin
COPY dashboards dashboards
COPY src src
COPY --from=console /app/node_modules/.cache/gluellm-console node_modules/.cache/gluellm-console
USER node
ENTRYPOINT ["node", "src/cli/main.ts"]
CMD ["worker"]
