import { defineRetriever } from "../../src/index.ts";

/** A module with a retriever of two notes, whatever the question. */
export const notes = defineRetriever("notes", () => [
  { content: "The tide turns\n  twice a day.", source: "tides.md" },
  { content: "The Moon pulls the water.", source: "moon.md" },
]);
