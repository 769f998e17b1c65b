import { ACKNOWLEDGED } from "../shared/records.ts";

/**
 * Lua: `standingRecord(result)` returns the record, nil when there is none; of the mark its status alone. One that cannot be read
 * counts as a failure's, so that another one may take its place.
 */
export const STANDING = `
  local function standingRecord(result)
    local text = redis.pcall('GET', result)
    if text == false then return nil end
    if text == '${ACKNOWLEDGED}' then return {status = text} end
    local isRead, record = pcall(cjson.decode, text)
    return isRead and type(record) == 'table' and record or {status = 'failed', finishedAt = 0}
  end
`;
