/* What the API answers of tenants, keys and users. Times are epoch milliseconds. */

export interface TenantSettings {
  weight?: number;
  rpm?: number;
  tpm?: number;
  maxInFlight?: number;
  maxQueuedJobs?: number;
  maxCostUsdPerDay?: number;
  maxCostUsdPerMonth?: number;
  resultDays?: number;
  failedDays?: number;
  conversationDays?: number;
  runDays?: number;
  historyDays?: number;
  historyContentDays?: number;
  historyMaxRows?: number;
}

export interface Tenant {
  tenant: string;
  ended: number;
  failed: number;
  openJobs: number;
  waitingRows: number;
  settings: TenantSettings;
  isDamaged: boolean;
  spentUsdToday: number | null;
  spentUsdThisMonth: number | null;
}

export interface ApiKey {
  id: string;
  name: string;
  tenant: string;
  role: string | null;
  scopes: string[];
  state: "valid" | "expired" | "revoked";
  expiresAt?: number;
  requests: number;
  lastUsedAt?: number;
  spentUsd: number;
}

/** Who comes by single sign-on. */
export interface User {
  user: string;
  role?: string;
  tenant?: string;
}
