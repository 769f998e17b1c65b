import type { RouteGroup } from "./route.ts";
import { approvalRoutes } from "./routes/approvals.ts";
import { auditRoutes } from "./routes/audit.ts";
import { batchOperationRoutes } from "./routes/batch-operations.ts";
import { batchRoutes } from "./routes/batches.ts";
import { chatRoutes } from "./routes/chat-completions.ts";
import { deadLetterRoutes } from "./routes/dead-letters.ts";
import { embeddingRoutes } from "./routes/embeddings.ts";
import { fileRoutes } from "./routes/files.ts";
import { fleetRoutes } from "./routes/fleet.ts";
import { historyRoutes } from "./routes/history.ts";
import { jobViewRoutes } from "./routes/job-views.ts";
import { jobRoutes } from "./routes/jobs.ts";
import { keyRoutes } from "./routes/keys.ts";
import { liveRoutes } from "./routes/live.ts";
import { mcpRoutes } from "./routes/mcp.ts";
import { messageBatchRoutes } from "./routes/message-batches.ts";
import { messageRoutes } from "./routes/messages.ts";
import { modelRoutes } from "./routes/models.ts";
import { queueRoutes } from "./routes/queues.ts";
import { quoteRoutes } from "./routes/quote.ts";
import { responseRoutes } from "./routes/responses.ts";
import { runViewRoutes } from "./routes/run-views.ts";
import { runRoutes } from "./routes/runs.ts";
import { scheduleRoutes } from "./routes/schedules.ts";
import { tenantRoutes } from "./routes/tenants.ts";
import { userRoutes } from "./routes/users.ts";
import { webhookRoutes } from "./routes/webhooks.ts";

/** All that the API serves. A new surface is one file in `routes/`, and its name here. */
export const ROUTE_GROUPS: readonly RouteGroup[] = [
  modelRoutes,
  chatRoutes,
  embeddingRoutes,
  responseRoutes,
  fileRoutes,
  batchRoutes,
  batchOperationRoutes,
  messageRoutes,
  jobRoutes,
  approvalRoutes,
  jobViewRoutes,
  runRoutes,
  runViewRoutes,
  scheduleRoutes,
  queueRoutes,
  fleetRoutes,
  liveRoutes,
  tenantRoutes,
  keyRoutes,
  userRoutes,
  webhookRoutes,
  deadLetterRoutes,
  historyRoutes,
  auditRoutes,
  messageBatchRoutes,
  quoteRoutes,
  mcpRoutes,
];
