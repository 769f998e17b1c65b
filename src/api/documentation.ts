import { Router } from "express";
import { readVersion } from "../host/read-version.ts";
import { docsPage } from "./docs-page.ts";
import { openApiDocument } from "./document.ts";
import type { RouteGroup } from "./route.ts";

/** `/openapi.json` and `/docs`. They need no key: they say what this version can do, and nothing of what is in it. */
export function documentationRoutes(groups: readonly RouteGroup[]): Router {
  let made: { json: string; page: string } | undefined;
  const documents = () => {
    if (made) return made;
    const document = openApiDocument(groups, readVersion());
    made = { json: JSON.stringify(document), page: docsPage(document) };
    return made;
  };
  return Router()
    .get("/openapi.json", (_request, response) => void response.type("json").send(documents().json))
    .get("/docs", (_request, response) => void response.type("html").send(documents().page));
}
