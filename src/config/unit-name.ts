/** `celery-worker` as systemd names it: `celery-worker.service`. */
export const withServiceSuffix = (name: string): string =>
  name.endsWith('.service') ? name : `${name}.service`;
