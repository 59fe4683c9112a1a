/** Writes the documentation as a static site to site/dist: `npm run site`. */
import { execFileSync } from 'node:child_process';
import { cpSync, existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const site = join(root, 'site');

// Packages of its own, so that nobody else has to install them.
if (!existsSync(join(site, 'node_modules', 'vitepress'))) {
  execFileSync('npm', ['ci', '--ignore-scripts'], { cwd: site, stdio: 'inherit' });
}
rmSync(join(site, 'pages'), { recursive: true, force: true });
cpSync(join(root, 'docs'), join(site, 'pages'), { recursive: true });
const vitepress = join(site, 'node_modules', 'vitepress', 'bin', 'vitepress.js');
execFileSync(process.execPath, [vitepress, 'build', site], { stdio: 'inherit' });
console.log(`site: written to ${join(site, 'dist')}`);
