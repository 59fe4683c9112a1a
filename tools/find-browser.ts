import { accessSync, constants } from 'node:fs';
import path from 'node:path';

/** As distributions call them. */
const names = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** The program that CHROME_PATH names, otherwise the first Chromium on PATH; `null`: there is none. */
export function findBrowser(): string | null {
  const { CHROME_PATH = '', PATH = '' } = process.env;
  if (CHROME_PATH !== '') return CHROME_PATH;
  const folders = PATH.split(path.delimiter);
  const files = folders.flatMap((folder) => names.map((name) => path.join(folder, name)));
  return files.find(isProgram) ?? null;
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
