// POST {"key": ...} answers what auth.api.verifyApiKey says, on node's own HTTP server.
import { createServer } from "node:http";
import { auth } from "./auth.mjs";

const fd = Number(process.argv[process.argv.indexOf("--fd") + 1]);

const server = createServer((request, response) => {
  if (request.method === "GET") return response.end("ready");
  let text = "";
  request.setEncoding("utf8");
  request.on("data", (part) => (text += part));
  request.on("end", () => verify(text).then(
    (verdict) => answer(response, 200, verdict),
    (error) => answer(response, 500, { valid: false, error: String(error) }),
  ));
});

async function verify(text) {
  const { key } = JSON.parse(text);
  return auth.api.verifyApiKey({ body: { key } });
}

function answer(response, status, found) {
  const body = JSON.stringify(found);
  response.writeHead(status, {
    "Content-Type": "application/json",
    "Content-Length": Buffer.byteLength(body),
  });
  response.end(body);
}

server.keepAliveTimeout = 75_000;
server.listen({ fd });
process.on("SIGTERM", () => process.exit(0));
