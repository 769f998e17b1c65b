import { isObject, parseJson } from "../shared/json.ts";
import { argumentsText, calledFunction } from "../shared/tool-calls.ts";
import { merge } from "./merge.ts";
import { makeCallId } from "./normal-form.ts";

type Fields = Record<string, unknown>;

interface Call {
  /** Told to readers, and the answer's. */
  id: string;
  /** The server's own. */
  givenId: string | undefined;
  place: string | undefined;
  name: string;
  args: string;
  /** What else its provider wrote into it. */
  fields: Fields;
  called: Fields;
}

interface Piece {
  id: string;
  place: string | undefined;
  name: string;
  args: string;
}

/** A piece of a tool call, as it is told. */
interface ToldPiece {
  index: number;
  id?: string;
  name?: string;
  arguments: string;
}

/**
 * The tool calls of a streamed answer. What a piece belongs to is said by its id, else by its index, else by its name, which
 * begins a new call; but servers give every call index 0, or each piece another one, repeat id and name in each piece, or make
 * a new id for each. So two more things decide: a call begins with its name, and one whose arguments are whole has ended.
 */
export class StreamedCalls {
  readonly #calls: Call[] = [];

  /** Adds a piece. @param choice the choice that it came in: each counts from 0 */
  add(raw: unknown, choice: unknown): ToldPiece | undefined {
    if (!isObject(raw)) return undefined;
    const called = calledFunction(raw);
    const piece: Piece = {
      id: textOf(raw.id),
      place: textOf(raw.index) === "" ? undefined : `${textOf(choice)}:${textOf(raw.index)}`,
      name: textOf(called.name),
      args: argumentsText(called),
    };
    const found = this.#find(piece);
    if (found === "repeated") return undefined;
    if (!found && piece.id === "" && piece.name === "" && piece.args === "") return undefined;
    const isKnown = found !== undefined && !hasEnded(found, piece);
    const call = isKnown ? found : this.#open(piece);
    if (found && !isKnown && piece.name === "") piece.name = found.name;
    const isNamed = call.name === "" && piece.name !== "";
    if (piece.name !== "") call.name = piece.name;
    call.givenId ??= piece.id || undefined;
    call.args += piece.args;
    const { id: _, index: __, function: ___, custom: ____, type: _____, ...fields } = raw;
    const { name: n, arguments: a, input: i, parameters: p, ...own } = called;
    if (called !== raw) {
      merge(call.fields, fields);
      merge(call.called, own);
    }
    return {
      index: this.#calls.indexOf(call),
      ...(!isKnown && { id: call.id }),
      ...(isNamed && { name: call.name }),
      arguments: piece.args,
    };
  }

  /** Returns the calls as a whole answer has them; undefined for none. */
  list(): Fields[] | undefined {
    if (this.#calls.length === 0) return undefined;
    return this.#calls.map(({ id, name, args, fields, called }) => ({
      ...fields,
      id,
      type: "function",
      function: { ...called, name, arguments: args },
    }));
  }

  /** Returns the call that a piece belongs to, or the ended one that it follows; undefined when it begins one. */
  #find(piece: Piece): Call | "repeated" | undefined {
    const { id, place, name, args } = piece;
    const byPlace = place ? this.#calls.findLast((call) => call.place === place) : undefined;
    const byId = id ? this.#calls.findLast((call) => call.givenId === id) : undefined;
    // A new id with a name is a new call; one without is a server that makes an id for each piece.
    if (id && name && !byId && !(byPlace && isNameless(byPlace, name))) return undefined;
    const known = byId ?? byPlace ?? (place === undefined || !name ? this.#calls.at(-1) : undefined);
    if (!known || isAnotherName(known, name)) return undefined;
    const isOtherPlace = byId && place !== undefined && place !== byId.place;
    if (isOtherPlace && name && args === "") return undefined;
    const isRepeated = hasEnded(known, piece) && args === known.args && (byId ? !isOtherPlace : !name);
    return isRepeated ? "repeated" : known;
  }

  #open({ id, place }: Piece): Call {
    const isFree = id !== "" && this.#calls.every((call) => call.id !== id);
    const call: Call = {
      id: isFree ? id : makeCallId(),
      givenId: id || undefined,
      place,
      name: "",
      args: "",
      fields: {},
      called: {},
    };
    this.#calls.push(call);
    return call;
  }
}

function isAnotherName(call: Call, name: string): boolean {
  return name !== "" && call.name !== "" && call.name !== name;
}

/** Returns whether a call without an id of its own is the one that a piece with an id names. */
function isNameless({ givenId, name, args }: Call, given: string): boolean {
  return givenId === undefined && (name === "" || (name === given && args === ""));
}

/** Returns whether a call's arguments are whole and the piece begins others: they are those of the next call. */
function hasEnded(call: Call, { args }: Piece): boolean {
  return (
    args.trimStart().startsWith("{") && call.args.trimEnd().endsWith("}") && isObject(parseJson(call.args))
  );
}

function textOf(value: unknown): string {
  return typeof value === "number" ? String(value) : typeof value === "string" ? value : "";
}
