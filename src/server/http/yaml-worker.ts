// The thread that reads one long YAML text and ends; see yaml-bodies.ts.
import { parentPort, workerData } from 'node:worker_threads';
import { JsonSyntaxError } from '../../api/json-text.ts';
import { parseYaml } from './yaml-text.ts';

/** What the thread says before it ends: the value as JSON, which is the quickest to take over, or what is wrong with it. */
export type YamlAnswer = { json: string; duplicates: string[] } | { syntaxError: string };

function answer(text: string): YamlAnswer {
  try {
    const { value, duplicates } = parseYaml(text);
    return { json: JSON.stringify(value), duplicates };
  } catch (error) {
    if (error instanceof JsonSyntaxError) return { syntaxError: error.message };
    throw error;
  }
}

parentPort?.postMessage(answer(workerData as string));
