// Makes better-auth's tables. The benchmark then fills them.
import { getMigrations } from "better-auth/db/migration";
import { auth, pool } from "./auth.mjs";

await (await getMigrations(auth.options)).runMigrations();
await pool.end();
