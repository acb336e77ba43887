// Builds the page into dist/, which the daemon contains: node build.mjs
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { build } from "esbuild";

const common = { bundle: true, minify: true, charset: "utf8", legalComments: "none", logLevel: "warning", target: "es2022" };

await mkdir("dist", { recursive: true });
await build({
  ...common,
  entryPoints: { app: "src/main.tsx" },
  outdir: "dist",
  format: "esm",
  jsx: "automatic",
  jsxImportSource: "preact",
});
await build({ ...common, entryPoints: { recorder: "src/recorder.ts" }, outdir: "dist", format: "iife" });
await copyFile("src/index.html", "dist/index.html");
await copyFile("src/icon.svg", "dist/icon.svg");

// The licences of the bundled packages require their texts beside the code.
const texts = [];
for (const name of ["preact", "@preact/signals", "@preact/signals-core", "uplot"]) {
  const { version } = JSON.parse(await readFile(`node_modules/${name}/package.json`, "utf8"));
  const text = await readFile(`node_modules/${name}/LICENSE`, "utf8");
  texts.push(`${name} ${version}\n\n${text.replaceAll("\r\n", "\n").trim()}\n`);
}
await writeFile("dist/licenses.txt", texts.join("\n\n"));
