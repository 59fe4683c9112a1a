import { supportRoot } from '../../systemd/support-module.ts';

/** Where hardened mode is on a host; `src/config/policy.ts` has the policy's own path. */
/** The agent is beside the modules of workers. */
export const programFolder = supportRoot;
export const agentPath = `${programFolder}/agent`;
export const policyFolder = '/etc/celeriac';
/** Beside the policy, so that editors find it. */
export const schemaPath = `${policyFolder}/policy.schema.json`;

export const homeOf = (user: string): string => `/home/${user}`;
export const keysPath = (user: string): string => `${homeOf(user)}/.ssh/authorized_keys`;
export const sudoersFolder = '/etc/sudoers.d';
export const sudoersPath = (user: string): string => `${sudoersFolder}/${user}`;

/** The one line; `""`: no arguments. */
export const sudoersText = (user: string): string =>
  `${user} ALL=(root) NOPASSWD: ${agentPath} ""\n`;

/** What precedes each key: it runs the installed agent, whatever is asked for, and nothing else. */
export const keyOptions = `restrict,command="sudo -n ${agentPath}" `;
