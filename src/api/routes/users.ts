import { z } from "zod";
import { DEFAULT_TENANT, tenantSchema } from "../../shared/tenant.ts";
import { listUsers, removeUser, roleSchema, saveUser } from "../../store/user.ts";
import { ApiError, notFound } from "../api-error.ts";
import { type Call, defineRoute, type RouteGroup } from "../route.ts";

const nameSchema = z.object({ name: z.string().max(200) });
const userSchema = z
  .object({
    user: z.string(),
    role: roleSchema
      .optional()
      .meta({ description: "Absent: what is stored is damaged, and gives no role." }),
    tenant: z.string().optional(),
    since: z.number().optional(),
  })
  .meta({ id: "User" });
const roleChangeSchema = z
  .strictObject({ role: roleSchema, tenant: tenantSchema.default(DEFAULT_TENANT) })
  .meta({ id: "UserRole" });

/** `/api/users`: roles of those who come by single sign-on, for keys of the tenant `default`. */
export const userRoutes: RouteGroup = {
  name: "access",
  basePath: "/api",
  dialect: "openai",
  routes: [
    defineRoute({
      method: "get",
      path: "/users",
      summary: "Lists the users who have a role of their own; none for keys of another tenant than default.",
      scope: "admin",
      answer: z.object({
        data: z.array(userSchema),
        sso: z
          .object({ defaultRole: roleSchema.nullable() })
          .nullable()
          .meta({ description: "Null: it is not set up." }),
      }),
      handle: async ({ context: { store, settings }, principal }) => {
        const { sso } = settings.dashboard;
        return {
          data: principal.tenant === DEFAULT_TENANT ? await listUsers(store) : [],
          sso: sso ? { defaultRole: sso.defaultRole ?? null } : null,
        };
      },
    }),
    defineRoute({
      method: "put",
      path: "/users/:name",
      summary: "Gives a user a role, which holds from the next request on.",
      scope: "admin",
      params: nameSchema,
      body: roleChangeSchema,
      answer: userSchema,
      handle: async (call) => saveUser(call.context.store, othersName(call), call.body),
    }),
    defineRoute({
      method: "delete",
      path: "/users/:name",
      summary: "Takes a user's role away: what is left is GLUELLM_SSO_DEFAULT_ROLE, or nothing.",
      scope: "admin",
      params: nameSchema,
      answer: z.object({ user: z.string(), removed: z.literal(true) }),
      handle: async (call) => {
        const user = othersName(call);
        if (!(await removeUser(call.context.store, user))) throw notFound("user", user);
        return { user, removed: true };
      },
    }),
  ],
};

/** Returns the name of who is not oneself: nobody shuts himself out. */
function othersName({
  principal,
  params: { name },
}: Call<z.infer<typeof nameSchema>, unknown, unknown>): string {
  if (principal.tenant !== DEFAULT_TENANT) throw notFound("user", name);
  if (principal.user !== name.trim().toLowerCase()) return name;
  throw new ApiError({
    status: 409,
    code: "own_role",
    message: "nobody changes a role of his own",
    hint: "ask another admin",
  });
}
