/**
 * The container cannot be made from its spec as things are: CreateContainerConfigError with this message. Either
 * something it refers to is missing (and may come), or it asks for what this node cannot give.
 */
export class ContainerConfigError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'ContainerConfigError';
  }
}
