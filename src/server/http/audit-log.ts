// Imported when --audit-log-path is given.
import { appendFile, mkdir, readdir, rename, stat, unlink } from 'node:fs/promises';
import { basename, dirname, extname, join } from 'node:path';
import type { Clock, Timer } from '../../lib/clock.ts';
import type { Logger } from '../../lib/logger.ts';
import type { Service } from '../../lib/service.ts';
import type { UserInfo } from '../registry/port.ts';
import { type AuditedRequest, type AuditRule, auditEvent, isAudited, OWN_RULE } from './audit-event.ts';
import type { AuditPolicy } from './audit-policy.ts';
import type { RequestInfo } from './request-info.ts';

/** Events gather for this long and go to the disk together: an SD card wears by the number of writes. */
const FLUSH_MS = 1000;
/** Beyond this, events are lost (and counted) rather than requests held up or memory filled. */
const MOST_WAITING = 4 * 1024 * 1024;
const DAY_MS = 86_400_000;

export interface AuditLogOptions {
  path: string;
  /** Mebibytes. */
  maxSize: number;
  /** Days; 0: no limit. */
  maxAge: number;
  /** 0: no limit. */
  maxBackups: number;
  /** Absent: copepod's own, see isAudited. */
  policy?: AuditPolicy | undefined;
  clock: Clock;
  logger: Logger;
}

/** One event a line, appended in the background; the file is put aside when it is full, as lumberjack does it. */
export class AuditLog implements Service {
  private readonly options: AuditLogOptions;
  private waiting: string[] = [];
  private waitingLength = 0;
  private size = 0;
  private timer: Timer | undefined;
  private flushing: Promise<void> = Promise.resolve();
  private written = 0;
  private lost = 0;
  private failing = false;

  constructor(options: AuditLogOptions) {
    this.options = options;
  }

  get counts(): { written: number; lost: number } {
    return { written: this.written, lost: this.lost };
  }

  /** Rejects when the file cannot be written: better no server than one whose audit log is missing. */
  async start(): Promise<void> {
    const { path, clock } = this.options;
    await mkdir(dirname(path), { recursive: true });
    await appendFile(path, '', { mode: 0o600 });
    this.size = (await stat(path)).size;
    this.timer = clock.every(FLUSH_MS, () => this.flush());
  }

  async stop(): Promise<void> {
    this.timer?.cancel();
    this.flush();
    await this.flushing;
  }

  /** How a request is told of; undefined: not at all. */
  ruleFor(user: UserInfo | undefined, info: RequestInfo | undefined): AuditRule | undefined {
    const { policy } = this.options;
    const rule = policy ? policy.of(user, info) : OWN_RULE;
    return rule?.level === 'None' ? undefined : rule;
  }

  /** Returns at once. */
  log(audited: AuditedRequest): void {
    if (audited.rule?.omitStages.has(audited.stage)) return;
    if (!this.options.policy && !isAudited(audited)) return;
    const line = `${JSON.stringify(auditEvent(audited))}\n`;
    if (this.waitingLength + line.length > MOST_WAITING) {
      this.lost += 1;
      return;
    }
    this.waiting.push(line);
    this.waitingLength += line.length;
  }

  private flush(): void {
    this.flushing = this.flushing.then(() => this.write());
  }

  private async write(): Promise<void> {
    const lines = this.waiting;
    if (lines.length === 0) return;
    this.waiting = [];
    this.waitingLength = 0;
    try {
      const text = lines.join('');
      const length = Buffer.byteLength(text);
      if (this.size > 0 && this.size + length > this.options.maxSize * 2 ** 20) await this.putAside();
      await appendFile(this.options.path, text, { mode: 0o600 });
      this.size += length;
      this.written += lines.length;
      this.failing = false;
    } catch (error) {
      this.lost += lines.length;
      if (!this.failing) this.options.logger.error({ error }, 'the audit log cannot be written');
      this.failing = true;
    }
  }

  /** audit.log becomes audit-2026-01-02T03-04-05.678.log. */
  private async putAside(): Promise<void> {
    const { path, clock } = this.options;
    const extension = extname(path);
    const time = new Date(clock.now()).toISOString().replaceAll(':', '-').replace('Z', '');
    await rename(path, join(dirname(path), `${basename(path, extension)}-${time}${extension}`));
    this.size = 0;
    await this.removeOld();
  }

  private async removeOld(): Promise<void> {
    const { path, maxAge, maxBackups, clock } = this.options;
    const extension = extname(path);
    const folder = dirname(path);
    const stem = `${basename(path, extension)}-`;
    const dated = /^\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}$/;
    const backups = (await readdir(folder))
      .filter(
        (name) =>
          name.startsWith(stem) &&
          name.endsWith(extension) &&
          dated.test(name.slice(stem.length, extension === '' ? undefined : -extension.length)),
      )
      .sort()
      .reverse();
    for (const [index, name] of backups.entries()) {
      const file = join(folder, name);
      const tooMany = maxBackups > 0 && index >= maxBackups;
      const tooOld = maxAge > 0 && clock.now() - (await stat(file)).mtimeMs > maxAge * DAY_MS;
      if (tooMany || tooOld) await unlink(file);
    }
  }
}
