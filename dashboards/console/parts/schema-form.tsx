import { useState } from "preact/hooks";
import { jsonOf } from "../json-of.ts";
import type { Schema } from "../types.ts";

interface FieldProps {
  name: string;
  schema: Schema;
  isRequired: boolean;
  /** What the form was last given. */
  value: unknown;
  onChange: (value: unknown) => void;
}

/** A form from a JSON Schema: fields for texts, numbers, choices and objects; JSON for what has no simpler form. */
export function SchemaForm({
  schema,
  value,
  onChange,
}: {
  schema: Schema;
  value: unknown;
  onChange: (value: unknown) => void;
}) {
  if (schema.properties)
    return <ObjectFields {...{ schema, value: Object(value) as Record<string, unknown>, onChange }} />;
  return <Field name="input" isRequired {...{ schema, value, onChange }} />;
}

function ObjectFields({
  schema,
  value,
  onChange,
}: {
  schema: Schema;
  value: Record<string, unknown>;
  onChange: (value: unknown) => void;
}) {
  return (
    <div class="form">
      {Object.entries(schema.properties ?? {}).map(([name, of]) => (
        <Field
          key={name}
          name={name}
          schema={of}
          isRequired={schema.required?.includes(name) ?? false}
          value={value[name]}
          onChange={(given) => {
            const { [name]: _, ...others } = value;
            onChange(given === undefined ? others : { ...others, [name]: given });
          }}
        />
      ))}
    </div>
  );
}

function Field(props: FieldProps) {
  const { name, schema, isRequired, value, onChange } = props;
  const { type, description } = schema;
  const title = schema.title ?? name;
  const hint = description && <small>{description}</small>;
  if (schema.properties)
    return (
      <fieldset>
        <legend>{title}</legend>
        {hint}
        <ObjectFields schema={schema} value={Object(value) as Record<string, unknown>} onChange={onChange} />
      </fieldset>
    );
  if (schema.enum)
    return (
      <label>
        {title}
        <select
          value={String(value ?? schema.default ?? "")}
          onChange={({ currentTarget }) =>
            onChange(schema.enum?.find((one) => String(one) === currentTarget.value))
          }
        >
          {!isRequired && <option value="" />}
          {schema.enum.map((one) => (
            <option key={String(one)}>{String(one)}</option>
          ))}
        </select>
        {hint}
      </label>
    );
  if (type === "boolean")
    return (
      <label class="check">
        <input
          type="checkbox"
          checked={Boolean(value ?? schema.default)}
          onChange={({ currentTarget }) => onChange(currentTarget.checked)}
        />
        {title} {hint}
      </label>
    );
  if (type === "integer" || type === "number")
    return (
      <label>
        {title}
        <input
          type="number"
          step={type === "integer" ? 1 : "any"}
          required={isRequired && schema.default === undefined}
          min={schema.minimum}
          max={schema.maximum}
          placeholder={schema.default === undefined ? "" : String(schema.default)}
          defaultValue={value === undefined ? "" : String(value)}
          onInput={({ currentTarget }) =>
            onChange(currentTarget.value === "" ? undefined : Number(currentTarget.value))
          }
        />
        {hint}
      </label>
    );
  if (type === "string")
    return (
      <label>
        {title}
        <textarea
          rows={2}
          required={isRequired}
          placeholder={schema.default === undefined ? "" : String(schema.default)}
          defaultValue={value === undefined ? "" : String(value)}
          onInput={({ currentTarget }) =>
            onChange(currentTarget.value === "" && !isRequired ? undefined : currentTarget.value)
          }
        />
        {hint}
      </label>
    );
  return <JsonField {...props} />;
}

function JsonField({ name, schema, isRequired, value, onChange }: FieldProps) {
  const [fault, setFault] = useState("");
  const shape = schema.items ? "a list" : "JSON";
  return (
    <label>
      {schema.title ?? name} ({shape})
      <textarea
        spellcheck={false}
        required={isRequired}
        defaultValue={value === undefined ? "" : JSON.stringify(value, null, 2)}
        placeholder={JSON.stringify(exampleOf(schema), null, 2)}
        onInput={({ currentTarget }) => {
          try {
            onChange(jsonOf(currentTarget.value));
            currentTarget.setCustomValidity("");
            setFault("");
          } catch (error) {
            currentTarget.setCustomValidity((error as Error).message);
            setFault((error as Error).message);
          }
        }}
      />
      {fault && <small class="bad-text">{fault}</small>}
      {schema.description && <small>{schema.description}</small>}
    </label>
  );
}

const MAX_DEPTH = 6;

/** Returns a value of the schema's shape, to begin with: its defaults, and empty texts. */
export function exampleOf(schema: Schema, depth = 0): unknown {
  if (schema.default !== undefined) return schema.default;
  if (schema.const !== undefined) return schema.const;
  if (schema.enum) return schema.enum[0];
  if (depth > MAX_DEPTH) return null;
  if (schema.anyOf) return exampleOf(schema.anyOf[0] ?? {}, depth + 1);
  if (schema.properties) {
    const required = Object.entries(schema.properties).filter(([name]) => schema.required?.includes(name));
    return Object.fromEntries(required.map(([name, of]) => [name, exampleOf(of, depth + 1)]));
  }
  if (schema.items) return [exampleOf(schema.items, depth + 1)];
  return (
    { string: "", integer: schema.minimum ?? 0, number: schema.minimum ?? 0, boolean: false }[
      String(schema.type)
    ] ?? null
  );
}
