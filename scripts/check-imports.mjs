// Applies the rules of scripts/lib/source-rules.mjs to src and test. Exit code 1 when one is broken.
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { checkSources } from './lib/source-rules.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const files = new Map();
for (const folder of ['src', 'test']) visit(join(root, folder));
const violations = checkSources(files);
for (const { path, line, rule, reason } of violations) console.error(`${path}:${line}: ${rule}\n  ${reason}`);
console.log(
  `${files.size} files follow the import rules${violations.length > 0 ? `, but for ${violations.length} places` : ''}`,
);
process.exit(violations.length > 0 ? 1 : 0);

function visit(folder) {
  for (const entry of readdirSync(folder, { withFileTypes: true })) {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) visit(path);
    else if (/\.tsx?$/.test(entry.name)) files.set(relative(root, path), readFileSync(path, 'utf8'));
  }
}
