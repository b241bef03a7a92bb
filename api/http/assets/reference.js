// Nothing on this page may leave the server that it came from: no fonts, no proxy, no telemetry,
// no assistant, no button that opens or uploads the document elsewhere.
Scalar.createApiReference("#app", {
  url: "/openapi.json",
  withDefaultFonts: false,
  telemetry: false,
  agent: { disabled: true },
  mcp: { disabled: true },
  hideClientButton: true,
  showDeveloperTools: "never",
  persistAuth: false,
  documentDownloadType: "direct",
});
