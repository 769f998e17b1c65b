import { defineConfig } from "vitest/config";
import config from "./vitest.config.ts";

/** `npm run test:chaos`: minutes of killed workers. */
export default defineConfig({ test: { ...config.test, include: ["test/**/*.chaos.ts"] } });
