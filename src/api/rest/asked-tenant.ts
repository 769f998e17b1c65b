import type { Principal } from "../../shared/principal.ts";
import { allows } from "../../shared/scopes.ts";
import { DEFAULT_TENANT } from "../../shared/tenant.ts";
import { ApiError } from "../api-error.ts";

/** What parameters `tenant` of lists say of themselves. */
export const TENANT_DESCRIPTION =
  "For keys of the tenant default with the scope operate: of another tenant, or `*` of all.";

/** Returns the tenant that a list is of; undefined: all. @throws ApiError 403 for one that the key does not see */
export function askedTenant(
  principal: Principal,
  tenant: string | undefined = principal.tenant,
): string | undefined {
  const mayAsk = principal.tenant === DEFAULT_TENANT && allows(principal.scopes, "operate");
  if (tenant !== principal.tenant && !mayAsk)
    throw new ApiError({ status: 403, code: "missing_scope", message: "this key sees its own tenant alone" });
  return tenant === "*" ? undefined : tenant;
}
