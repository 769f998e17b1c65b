import { place, setQuery } from "../router.ts";

const SETTLE_MS = 250;
/** Of what is being typed, by the filter's name. */
const timers = new Map<string, number>();

/** A text filter that is kept in the address. */
export function TextFilter({
  name,
  label,
  placeholder,
}: {
  name: string;
  label: string;
  placeholder?: string;
}) {
  return (
    <label class="filter">
      <span>{label}</span>
      <input
        type="search"
        name={name}
        data-filter={name === "text" ? "" : undefined}
        placeholder={placeholder}
        defaultValue={place.value.query.get(name) ?? ""}
        key={place.value.parts.join("/")}
        onInput={(event) => {
          const { value } = event.currentTarget;
          clearTimeout(timers.get(name));
          const settle = () => setQuery({ [name]: value, cursor: undefined });
          timers.set(name, setTimeout(settle, SETTLE_MS));
        }}
      />
    </label>
  );
}

/** A choice that is kept in the address; the first one is no filter. */
export function ChoiceFilter({
  name,
  label,
  choices,
}: {
  name: string;
  label: string;
  choices: readonly (readonly [value: string, text: string])[];
}) {
  return (
    <label class="filter">
      <span>{label}</span>
      <select
        name={name}
        value={place.value.query.get(name) ?? ""}
        onChange={(event) => setQuery({ [name]: event.currentTarget.value, cursor: undefined })}
      >
        {choices.map(([value, text]) => (
          <option key={value} value={value}>
            {text}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Returns a filter of the address. */
export function filterOf(name: string): string | undefined {
  return place.value.query.get(name) ?? undefined;
}
