/**
 * For tests of workflows and tools: `import { createTestEnvironment } from "gluellm/testing"`.
 *
 * @module gluellm/testing
 */

export type { ModelAnswer, ModelRequest, ModelScript, ModelScripts } from "./model-scripts.ts";
export {
  createTestEnvironment,
  TestEnvironment,
  type TestEnvironmentOptions,
} from "./test-environment.ts";
