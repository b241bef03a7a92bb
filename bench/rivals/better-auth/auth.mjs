// better-auth with its API key plugin on Postgres, with nothing on that a verification can do
// without: no log, no telemetry, keys in the database (the only storage whose count is atomic).
import { apiKey } from "@better-auth/api-key";
import { betterAuth } from "better-auth";
import pg from "pg";

const CONNECTIONS = 20;

export const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: CONNECTIONS });

export const auth = betterAuth({
  baseURL: "http://localhost",
  secret: "of a benchmark in a temporary folder, 32 characters",
  database: pool,
  logger: { disabled: true },
  telemetry: { enabled: false },
  // Rows without a rate limit of their own (as the benchmark seeds them) then cost a statement
  // less than `rateLimit: { enabled: false }`, which still writes `lastRequest` each time.
  plugins: [apiKey()],
});
