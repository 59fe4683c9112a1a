import { commentOnPlan } from '../../src/action/plan-comment.ts';

void commentOnPlan();
