"""Derivatives of networks: Jacobians, gradients of each row, second derivatives. Imported when they are asked for."""
