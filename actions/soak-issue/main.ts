import { reportSoakIssue } from '../../src/action/soak-issue.ts';

void reportSoakIssue();
