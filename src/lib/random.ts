import { randomBytes, randomUUID } from 'node:crypto';

/** Randomness and ids as a port, so that a simulation replays exactly. */
export interface Random {
  /** Uniform in [0, 1). */
  number(): number;
  bytes(length: number): Buffer;
  uuid(): string;
}

export class SystemRandom implements Random {
  number(): number {
    return randomBytes(4).readUInt32LE(0) / 2 ** 32;
  }

  bytes(length: number): Buffer {
    return randomBytes(length);
  }

  uuid(): string {
    return randomUUID();
  }
}

/** Kubernetes' alphabet for generated names: no vowels (no words), nothing that looks alike. */
const NAME_ALPHABET = 'bcdfghjklmnpqrstvwxz2456789';

/** The random part that `generateName` and ReplicaSet pods carry; five characters unless told otherwise. */
export function nameSuffix(random: Random, length = 5): string {
  let suffix = '';
  for (let index = 0; index < length; index += 1) {
    suffix += NAME_ALPHABET[Math.floor(random.number() * NAME_ALPHABET.length)];
  }
  return suffix;
}
