FROM node:24-slim
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
RUN npm ci --omit=dev --no-audit --no-fund
COPY bin bin
COPY dashboards dashboards
COPY src src
USER node
ENTRYPOINT ["node", "src/cli/main.ts"]
CMD ["worker"]
