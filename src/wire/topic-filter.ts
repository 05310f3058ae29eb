/** Does an MQTT topic filter with + and # match the topic? [MQTT-4.7.1] [MQTT-4.7.2-1] */
export function topicMatches(filter: string, topic: string): boolean {
  if (topic.startsWith('$') && !filter.startsWith('$')) return false;
  const wanted = filter.split('/');
  const levels = topic.split('/');
  for (const [index, level] of wanted.entries()) {
    // `a/#` matches `a` itself as well [MQTT-4.7.1-2].
    if (level === '#') return true;
    if (index >= levels.length) return false;
    if (level !== '+' && level !== levels[index]) return false;
  }
  return wanted.length === levels.length;
}
