"""Mutation and crossover, an operator a function; which is used next is credited by success."""
